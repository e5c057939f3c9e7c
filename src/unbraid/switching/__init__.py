"""When to be in which mode: options for any learner, bandits, preferences of a person, and a guard."""
