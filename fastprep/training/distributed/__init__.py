"""Several processes that train together: how they find each other, exchange numbers and stay consistent."""
