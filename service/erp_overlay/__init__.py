"""Overlays the answers of the matrices with real-time prices and stock of an ERP, and with operator flags."""
