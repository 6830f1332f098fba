#![no_main]

countersign_fuzz::target!(certificates, Files);
