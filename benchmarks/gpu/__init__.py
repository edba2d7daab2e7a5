"""What a GPU does with this code: everything is proven and measured by one script in ten minutes."""
