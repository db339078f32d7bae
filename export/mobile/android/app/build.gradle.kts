import javax.inject.Inject

plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
    alias(libs.plugins.kotlin.compose)
}

/** The bundle that the app carries, and the key that must have signed it; an empty file, or none, demands no signature. */
val bundleFolder: Directory = rootProject.layout.projectDirectory.dir(providers.gradleProperty("breakfix.bundle").get())
val signingKey: String = rootProject.file("signing-key.txt").let { if (it.isFile) it.readText().trim() else "" }

android {
    namespace = "breakfix.app"
    compileSdk = libs.versions.compile.sdk.get().toInt()

    defaultConfig {
        applicationId = "breakfix.app"
        minSdk = libs.versions.min.sdk.get().toInt()
        targetSdk = libs.versions.compile.sdk.get().toInt()
        versionCode = 1
        versionName = "1.0"
        buildConfigField("String", "SIGNING_KEY", "\"$signingKey\"")
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }

    buildFeatures {
        buildConfig = true
        compose = true
    }

    // Weights do not compress, and are copied faster as they are.
    androidResources { noCompress += listOf("onnx", "data") }

    // Both libraries bring the same runtime.
    packaging { jniLibs { pickFirsts += "**/libonnxruntime.so" } }
}

kotlin {
    jvmToolchain(17)
}

/** Copies the manifest and what the app carries. The manifest lists the project too, which is no part of the app. */
abstract class BundleAssets @Inject constructor(private val files: FileSystemOperations) : DefaultTask() {
    @get:InputFiles
    @get:PathSensitive(PathSensitivity.RELATIVE)
    abstract val carried: ConfigurableFileCollection

    @get:Internal
    abstract val bundle: DirectoryProperty

    @get:OutputDirectory
    abstract val assets: DirectoryProperty

    @TaskAction
    fun copy() {
        val folder = bundle.get().asFile
        require(folder.resolve("manifest.json").isFile && folder.resolve("payload").isDirectory) {
            "$folder is no bundle; set breakfix.bundle to the folder that holds manifest.json and payload/"
        }
        files.sync {
            from(bundle) { include("manifest.json", "manifest.sig", "payload/**") }
            into(assets.dir("bundle"))
        }
    }
}

val copyBundle = tasks.register<BundleAssets>("copyBundle") {
    bundle.set(bundleFolder)
    carried.from(bundleFolder.asFileTree.matching { include("manifest.json", "manifest.sig", "payload/**") })
}

androidComponents {
    onVariants { variant -> variant.sources.assets?.addGeneratedSourceDirectory(copyBundle, BundleAssets::assets) }
}

dependencies {
    implementation(project(":guard"))
    implementation(files("libs/onnxruntime-genai-android-${libs.versions.onnxruntime.genai.get()}.aar"))
    implementation(libs.onnxruntime)
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.ui)
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.viewmodel)
}
