package io.natsune.internal

import io.natsune.internal.generated.uniffiEnsureInitialized
import java.nio.file.Files
import java.nio.file.Path

/** The native library: taken out of the jar once, and the same image for both lanes. */
internal object Library {
    /** What this jar may hold; a system that is not here has no native part. */
    private val platforms = listOf("linux-x86_64")
    private const val FILE = "libnatsune_native.so"

    /** A library of one's own, instead of the jar's. */
    private const val PATH = "io.natsune.library"

    /** Where the generated lane looks for the library. */
    private const val GENERATED = "uniffi.component.natsune_ffi.libraryOverride"

    private val loaded: Unit by lazy {
        val own = System.getProperty(PATH)
        if (own != null) use(Path.of(own).toAbsolutePath()) else extracted(::use)
    }

    fun load() {
        loaded
    }

    private fun use(path: Path) {
        System.load(path.toString())
        // The same file, so that the loader gives the same image: one runtime and one set of handles.
        System.setProperty(GENERATED, path.toString())
        uniffiEnsureInitialized()
    }

    /** Both lanes have the file open when this returns, so that it can go: a process that is killed leaves nothing. */
    private fun extracted(use: (Path) -> Unit) {
        val platform = platform(System.getProperty("os.name"), System.getProperty("os.arch"))
        val resource = "/natives/$platform/$FILE"
        val stream =
            (if (platform in platforms) Library::class.java.getResourceAsStream(resource) else null)
                ?: throw UnsatisfiedLinkError(missing(platform))
        // Only its owner may enter a folder that is made like this.
        val folder = Files.createTempDirectory("natsune")
        val file = folder.resolve(FILE)
        try {
            stream.use { Files.copy(it, file) }
            use(file)
        } finally {
            Files.deleteIfExists(file)
            Files.deleteIfExists(folder)
        }
    }

    fun missing(platform: String): String =
        "natsune has no native part for $platform: this jar has ${platforms.joinToString()}; " +
            "with -D$PATH=FILE a library of your own is loaded"

    fun platform(
        name: String,
        arch: String,
    ): String {
        val system =
            when {
                name.startsWith("Linux") -> "linux"
                name.startsWith("Mac") -> "macos"
                name.startsWith("Windows") -> "windows"
                else -> name.lowercase()
            }
        val processor =
            when (arch) {
                "amd64", "x86_64" -> "x86_64"
                "arm64", "aarch64" -> "aarch64"
                else -> arch
            }
        return "$system-$processor"
    }
}
