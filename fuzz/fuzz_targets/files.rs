#![no_main]

countersign_fuzz::target!(files, Files);
