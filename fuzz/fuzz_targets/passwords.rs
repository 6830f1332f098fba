#![no_main]

countersign_fuzz::target!(passwords, Files);
