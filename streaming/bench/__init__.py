"""`beforehand bench`: what an event costs and how long its answer takes, under a load that waits for nobody."""
