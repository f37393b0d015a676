"""Files to text columns to exact numbers: every cell as it is written, every row with its file and line."""
