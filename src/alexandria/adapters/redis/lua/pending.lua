return load() or reply({jobs = waiting()})
