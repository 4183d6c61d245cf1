"""What a user of the simulator can change: options, faults, and the page that shows them."""
