"""The demo's photos: rendered wrist watches by five invented makers, shipped with the package."""
