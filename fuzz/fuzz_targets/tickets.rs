#![no_main]

countersign_fuzz::target!(tickets, Messages);
