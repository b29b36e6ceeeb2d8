"""Commands about images: lists, transfers, archives, builds."""
