#![no_main]

countersign_fuzz::target!(server_machine, Messages);
