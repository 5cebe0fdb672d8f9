"""The one way out for long answers: columns to text, Arrow and Parquet, in turns."""
