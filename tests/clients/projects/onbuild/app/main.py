print(open("installed").read().strip(), "app")
