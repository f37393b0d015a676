"""The rules of availability, compiled: thousands of lines a call."""
