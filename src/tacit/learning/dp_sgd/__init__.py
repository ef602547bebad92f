"""DP-SGD: local steps in which no example's gradient is longer than a norm, and the sum of them gets noise."""
