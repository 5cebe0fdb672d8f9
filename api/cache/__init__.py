"""What is kept in memory: answers, columns of symbols, and what is being made just now."""
