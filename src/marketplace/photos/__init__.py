"""Photos decoded from a seller's file and scaled onto squares."""
