"""Pictures of scenes: clothes, colours, light, places, and a sensor."""
