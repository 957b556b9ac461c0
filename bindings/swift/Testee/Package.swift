// swift-tools-version: 6.0
import PackageDescription

// Programs that use the packed library as anybody would: the conformance testee, the example's worker, the bench.
let package = Package(
    name: "Testee",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "Natsune", path: "../Natsune")],
    targets: [
        .executableTarget(name: "testee", dependencies: ["Natsune"]),
        .executableTarget(name: "work-queue", dependencies: ["Natsune"]),
        .executableTarget(name: "bench", dependencies: ["Natsune"]),
    ],
    swiftLanguageModes: [.v6]
)
