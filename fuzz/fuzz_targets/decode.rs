#![no_main]

countersign_fuzz::target!(decode, Messages);
