"""What putting Parley onto other machines needs: secrets, images, and the probe that is inside them."""
