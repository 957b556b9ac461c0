// swift-tools-version: 6.0
import PackageDescription

// The packed package: the generated control lane lies beside the facade, the static library is found by pkg-config.
let package = Package(
    name: "Natsune",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Natsune", targets: ["Natsune"])],
    targets: [
        .systemLibrary(name: "CNatsune", path: "Sources/CNatsune", pkgConfig: "natsune"),
        .target(name: "Natsune", dependencies: ["CNatsune"], path: "Sources/Natsune"),
        .testTarget(name: "NatsuneTests", dependencies: ["Natsune"], path: "Tests/NatsuneTests"),
    ],
    swiftLanguageModes: [.v6]
)
