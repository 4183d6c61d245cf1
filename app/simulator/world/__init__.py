"""What is simulated: time, devices, satellites and radio networks."""
