// The guard, the conversation and the bundle's check: Kotlin alone, nothing of Android and no library.
plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
}
