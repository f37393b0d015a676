"""What a snapshot holds of availability as arrays: layout, access, verification, and the way back to rows."""
