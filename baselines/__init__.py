"""Reference methods: the initial estimates as they are, and fits that start from them."""
