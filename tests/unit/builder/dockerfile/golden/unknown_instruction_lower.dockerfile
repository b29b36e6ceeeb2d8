from x
rnu true
