"""TradingView's UDF."""
