"""Who calls and what they may: tokens, certificates, scopes, and which customers they may ask for."""
