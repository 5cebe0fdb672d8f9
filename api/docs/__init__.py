"""What /docs says: descriptions, examples and files."""
