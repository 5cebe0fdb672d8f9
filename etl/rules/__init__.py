"""What is rejected and what is noted, as SQL over relations. Reads and writes no store."""
