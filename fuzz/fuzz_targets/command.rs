#![no_main]

countersign_fuzz::target!(command, Files);
