"""Figures of series: pure functions over columns. Too few bars: None, never NaN or infinity.

returns      what every figure made of returns shares: years, rates, rounding
ratios       reward for risk, shape and tail of returns
drawdowns    falls from a peak
comparison   series beside each other: benchmark, correlation, covariance
performance  all figures of a series at once
formulas     what each figure is made of
windows      sums, means and extremes over a moving window
rolling      figures over a moving window
indicators   technical indicators: what can be asked for, how it is written, the columns
technicals   their formulas
"""
