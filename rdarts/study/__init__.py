"""Many runs: their queue, and tables and statistics over them."""
