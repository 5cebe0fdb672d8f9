"""The time zone of each calendar, by the names that `instruments.exchange` holds.

Kept here, so that a reader of the store finds the day of an instant without exchange_calendars.
"""

_PLACES = """
Africa/Johannesburg XJSE, America/Argentina/Buenos_Aires XBUE, America/Chicago CMES XCBF,
America/Lima XLIM, America/Mexico_City XMEX, America/New_York IEPA XBOG XNYS,
America/Santiago XSGO, America/Sao_Paulo BVMF, America/Toronto XTSE, Asia/Almaty AIXK,
Asia/Bangkok XBKK, Asia/Hong_Kong XHKG, Asia/Jakarta XIDX, Asia/Karachi XKAR, Asia/Kolkata XBOM,
Asia/Kuala_Lumpur XKLS, Asia/Manila XPHS, Asia/Riyadh XSAU, Asia/Seoul XKRX, Asia/Shanghai XSHG,
Asia/Singapore XSES, Asia/Taipei XTAI, Asia/Tokyo XTKS, Atlantic/Bermuda XBDA,
Atlantic/Reykjavik XICE, Australia/Sydney XASX, Europe/Amsterdam XAMS,
Europe/Berlin XEEE XETR XEUR XFRA XSTU, Europe/Bratislava XBRA, Europe/Brussels XBRU XDUS XHAM,
Europe/Budapest XBUD, Europe/Copenhagen XCSE, Europe/Dublin XDUB, Europe/Helsinki XHEL,
Europe/Istanbul XIST, Europe/Lisbon XLIS, Europe/Ljubljana XLJU, Europe/London XLON,
Europe/Luxembourg XLUX, Europe/Madrid XMAD, Europe/Moscow XMOS, Europe/Oslo XOSL,
Europe/Paris XPAR, Europe/Prague XPRA, Europe/Riga XRIS, Europe/Rome XMIL, Europe/Stockholm XSTO,
Europe/Tallinn XTAL, Europe/Vienna XWBO, Europe/Vilnius XLIT, Europe/Warsaw XWAR,
Europe/Zagreb XZAG, Europe/Zurich XSWX, Pacific/Auckland XNZE, UTC 24/5 24/7"""

ZONES = {
    calendar: zone
    for zone, *calendars in (place.split() for place in _PLACES.split(","))
    for calendar in calendars
}
