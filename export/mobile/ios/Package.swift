// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "Breakfix",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "BreakfixGuard", targets: ["BreakfixGuard"]),
        .library(name: "BreakfixSession", targets: ["BreakfixSession"]),
    ],
    targets: [
        .target(name: "BreakfixGuard"),
        .target(name: "BreakfixSession", dependencies: ["BreakfixGuard"]),
    ]
)
