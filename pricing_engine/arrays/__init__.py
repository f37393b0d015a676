"""What a snapshot holds of prices as arrays: layout, verification, and the way back to plain rows."""
