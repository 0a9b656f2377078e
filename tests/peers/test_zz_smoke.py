def test_x(tryton_peer):
    print(tryton_peer.settings, tryton_peer.seed([{"code":"A","name":"甲","unit_price":"9.5","quantity":7}]), tryton_peer.books())
