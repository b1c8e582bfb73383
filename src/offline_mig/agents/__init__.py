"""Guest agents: where they come from, what they consist of, and which Windows runs them."""
