"""A build's result on its way out: targets as clients ask for them, and results as mere files."""
