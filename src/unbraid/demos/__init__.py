"""What was recorded: episodes, their store on disk, and the doctor that checks them."""
