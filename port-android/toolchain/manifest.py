#!/usr/bin/env python3
"""manifest.py PACKAGE LIBRARY APP: the app's manifest with the library's in it, as Gradle would merge them."""
import sys
import xml.etree.ElementTree as xml

package, library, app = sys.argv[1:]
xml.register_namespace("android", "http://schemas.android.com/apk/res/android")
merged, added = xml.parse(app), xml.parse(library).getroot()
root = merged.getroot()
root.set("package", package)
for position, permission in enumerate(added.findall("uses-permission")):
    root.insert(position, permission)
root.find("application").extend(list(added.find("application")))
merged.write(sys.stdout, encoding="unicode", xml_declaration=True)
