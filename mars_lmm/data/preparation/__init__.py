"""How a prepared set comes to be: units of work, what runs them, and the journal that lets them go on."""
