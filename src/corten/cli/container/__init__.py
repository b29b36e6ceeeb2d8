"""Commands about containers: what they are asked for, and how they are shown and attached to."""
