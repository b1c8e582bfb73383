"""Why a guest boots or stops: a model of how Windows starts, and the plan that mends it."""
