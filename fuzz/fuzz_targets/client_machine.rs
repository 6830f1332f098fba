#![no_main]

countersign_fuzz::target!(client_machine, Messages);
