"""The price rules, compiled: thousands of lines a call."""
